import { changeOpen } from "../actions/lanes";
import { rename } from "../actions/history";
import { BASIC, FURTHER } from "../chat/settings";
import type { Conversation, Model } from "../chat/types";
import { setState } from "../state";
import { IconButton } from "./icons";
import { SettingField } from "./setting-field";

/** The system prompt and the sampling settings of the open chat. */
export function SettingsPanel({ chat, models }: { chat: Conversation; models: Model[] }) {
  const model = models.find((one) => one.id === chat.lanes[0]?.model);
  const changed = Object.keys(chat.settings).length > 0;
  return (
    <aside class="settings" aria-label="Settings">
      <div class="settings-head">
        <h2>This chat</h2>
        <IconButton icon="close" label="Close settings" onClick={() => setState({ settings: false })} />
      </div>
      {chat.title && (
        <label class="field">
          <span>Title</span>
          <input
            type="text"
            value={chat.title}
            onChange={(event) => rename(chat.id, event.currentTarget.value)}
          />
        </label>
      )}
      <label class="field">
        <span>System prompt</span>
        <textarea
          rows={4}
          placeholder="None"
          value={chat.system}
          onInput={(event) => {
            const system = event.currentTarget.value;
            changeOpen((one) => ({ ...one, system }));
          }}
        />
      </label>
      <h3>Sampling</h3>
      {BASIC.map((setting) => (
        <SettingField key={setting.name} setting={setting} chat={chat} model={model} />
      ))}
      <details>
        <summary>More</summary>
        {FURTHER.map((setting) => (
          <SettingField key={setting.name} setting={setting} chat={chat} model={model} />
        ))}
      </details>
      <label class="switch">
        <input
          type="checkbox"
          role="switch"
          checked={chat.logprobs}
          onChange={(event) => {
            const logprobs = event.currentTarget.checked;
            changeOpen((one) => ({ ...one, logprobs }));
          }}
        />
        <span>
          Token probabilities
          <small>Recorded with the next answers</small>
        </span>
      </label>
      <button
        type="button"
        class="button"
        disabled={!changed}
        onClick={() => changeOpen((one) => ({ ...one, settings: {} }))}
      >
        Use the model's settings
      </button>
    </aside>
  );
}
