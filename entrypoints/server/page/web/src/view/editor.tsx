import { useEffect, useRef, useState } from "preact/hooks";

interface EditorProps {
  text: string;
  label: string;
  /** What saving does, as the text of the button. */
  action: string;
  onSave: (text: string) => void;
  onClose: () => void;
}

/** Edits a message in its place. */
export function Editor({ text, label, action, onSave, onClose }: EditorProps) {
  const [draft, setDraft] = useState(text);
  const area = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    area.current?.focus();
    area.current?.setSelectionRange(text.length, text.length);
  }, []);
  const save = () => {
    if (!draft.trim()) return;
    onClose();
    if (draft !== text) onSave(draft);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      onClose();
    } else if (event.key === "Enter" && (event.metaKey || event.ctrlKey) && !event.isComposing) {
      event.preventDefault();
      save();
    }
  };
  return (
    <div class="editor">
      <textarea
        ref={area}
        aria-label={label}
        value={draft}
        onInput={(event) => setDraft(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      <div class="editor-actions">
        <button type="button" class="button" onClick={onClose}>
          Cancel
        </button>
        <button type="button" class="button primary" onClick={save}>
          {action}
        </button>
      </div>
    </div>
  );
}
