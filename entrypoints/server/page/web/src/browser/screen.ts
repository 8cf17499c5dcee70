/** What kind of screen and input the reader has. */

/** Whether side panels cover the chat. */
export const isNarrow = (): boolean => matchMedia("(max-width: 60rem)").matches;

/** Whether the keyboard is one on the screen, which has no Shift+Enter and covers half of the page. */
export const isTouch = (): boolean => matchMedia("(hover: none) and (pointer: coarse)").matches;
