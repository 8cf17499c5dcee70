import { changeOpen } from "../actions/lanes";
import type { Setting } from "../chat/settings";
import type { Conversation, Model } from "../chat/types";

interface FieldProps {
  setting: Setting;
  chat: Conversation;
  model: Model | undefined;
}

function setSetting(name: string, value: number | string): void {
  changeOpen((chat) => {
    const { [name]: _old, ...others } = chat.settings;
    return { ...chat, settings: value === "" ? others : { ...others, [name]: value } };
  });
}

/** A field of one setting, whose placeholder is the default of the server. */
export function SettingField({ setting, chat, model }: FieldProps) {
  const value = chat.settings[setting.name] ?? "";
  const usual = model?.sampling?.[setting.name];
  const placeholder = usual === undefined || usual === null ? setting.usual : String(usual);
  if (setting.kind === "text") {
    return (
      <label class="field">
        <span>{setting.label}</span>
        <textarea
          rows={2}
          placeholder={setting.hint}
          value={value}
          onInput={(event) => setSetting(setting.name, event.currentTarget.value)}
        />
      </label>
    );
  }
  const onInput = (input: HTMLInputElement) => {
    if (input.validity.valid) setSetting(setting.name, input.value === "" ? "" : Number(input.value));
  };
  return (
    <label class="setting">
      <span>
        {setting.label}
        <small>{setting.hint}</small>
      </span>
      <input
        type="number"
        inputMode="decimal"
        placeholder={placeholder}
        min={setting.least}
        max={setting.most}
        step={setting.kind === "integer" ? 1 : "any"}
        value={value}
        onInput={(event) => onInput(event.currentTarget)}
      />
    </label>
  );
}
