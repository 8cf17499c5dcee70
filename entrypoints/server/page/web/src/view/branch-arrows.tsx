import { showBranch } from "../actions/lanes";
import type { Message } from "../chat/types";
import { IconButton } from "./icons";

interface BranchProps {
  message: Message;
  lane: number;
  siblings: Message[];
}

/** Arrows to the other versions of a message. */
export function BranchArrows({ message, lane, siblings }: BranchProps) {
  if (siblings.length < 2) return null;
  const index = siblings.findIndex((one) => one.id === message.id);
  const go = (to: number) => {
    const sibling = siblings[to];
    if (sibling) showBranch(lane, sibling);
  };
  return (
    <span class="branches" role="group" aria-label="Versions">
      <IconButton icon="left" label="Previous version" disabled={index <= 0} onClick={() => go(index - 1)} />
      <span class="figure">
        {index + 1} / {siblings.length}
      </span>
      <IconButton
        icon="right"
        label="Next version"
        disabled={index >= siblings.length - 1}
        onClick={() => go(index + 1)}
      />
    </span>
  );
}
