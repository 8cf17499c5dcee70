import { retry } from "../actions/answers";
import type { Message } from "../chat/types";

/** What went wrong with an answer, in the words of the server, and a way to try again. */
export function FailureView({ message, lane }: { message: Message; lane: number }) {
  const { failure } = message;
  if (!failure) return null;
  const wait = failure.retryAfter ? ` Try again in ${failure.retryAfter} s.` : "";
  return (
    <div class="failure" role="alert">
      <p>
        {failure.message}
        {wait}
      </p>
      <button type="button" class="button" onClick={() => retry(lane, message)}>
        Retry
      </button>
    </div>
  );
}
