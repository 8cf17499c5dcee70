import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { unlock } from "../actions/connection";
import { setState } from "../state";
import { IconButton } from "./icons";

const KEYS: [string, string][] = [
  ["Enter", "Send"],
  ["Shift Enter", "New line"],
  ["Esc", "Stop the answer"],
  ["Ctrl K or /", "Search chats"],
  ["Ctrl Shift O", "New chat"],
  ["?", "This help"],
];

interface ModalProps {
  title: string;
  /** Without it, the dialog stays until what it asks for is there. */
  onClose?: () => void;
  children: ComponentChildren;
}

function Modal({ title, onClose, children }: ModalProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog
      ref={dialog}
      aria-label={title}
      onClose={onClose}
      onCancel={(event) => {
        if (!onClose) event.preventDefault();
      }}
    >
      <div class="dialog-head">
        <h2>{title}</h2>
        {onClose && <IconButton icon="close" label="Close" onClick={() => dialog.current?.close()} />}
      </div>
      {children}
    </dialog>
  );
}

export function Help() {
  const licenses = document.querySelector<HTMLTemplateElement>("#licenses")?.content.textContent;
  return (
    <Modal title="Help" onClose={() => setState({ help: false })}>
      <dl class="keys">
        {KEYS.map(([keys, meaning]) => (
          <div key={keys}>
            <dt>{keys.split(" ").map((key) => (key === "or" ? " or " : <kbd key={key}>{key}</kbd>))}</dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
      <p class="hint">
        Chats are kept in this browser and nowhere else. An edited message or a new answer is put beside the
        old one: the arrows below it lead back.
      </p>
      <details class="licenses">
        <summary>Licenses</summary>
        <pre tabIndex={0}>{licenses}</pre>
      </details>
    </Modal>
  );
}

/** Asks for the API key, which is kept until the tab is closed. */
export function KeyPrompt() {
  const input = useRef<HTMLInputElement>(null);
  const [refused, setRefused] = useState(false);
  return (
    <Modal title="API key">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void unlock(input.current?.value ?? "").then((accepted) => setRefused(!accepted));
        }}
      >
        <p class="hint">This server asks for a key. It is kept until you close this tab.</p>
        <label class="field">
          <span>Key</span>
          <input ref={input} type="password" autocomplete="off" required autofocus />
        </label>
        {refused && (
          <p class="refused" role="alert">
            The server does not accept this key.
          </p>
        )}
        <button type="submit" class="button primary">
          Continue
        </button>
      </form>
    </Modal>
  );
}
