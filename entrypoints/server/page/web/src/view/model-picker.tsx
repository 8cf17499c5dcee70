import { chooseModel } from "../actions/lanes";
import type { Conversation, Model } from "../chat/types";

/** The choice of the model that answers in a lane. */
export function ModelPicker({ chat, lane, models }: { chat: Conversation; lane: number; models: Model[] }) {
  const model = chat.lanes[lane]?.model ?? "";
  const known = models.some((one) => one.id === model);
  return (
    <select
      class="model-picker"
      aria-label={lane === 0 ? "Model" : "Model to compare with"}
      value={model}
      onChange={(event) => chooseModel(lane, event.currentTarget.value)}
    >
      {!known && <option value={model}>{model || "Connecting…"}</option>}
      {models.map((one) => (
        <option key={one.id} value={one.id}>
          {one.id}
        </option>
      ))}
    </select>
  );
}
