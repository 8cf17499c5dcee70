/** The sampling settings that a chat can have, with their bounds and what they do. */

export interface Setting {
  name: string;
  label: string;
  hint: string;
  kind: "number" | "integer" | "text";
  least?: number;
  most?: number;
  /** The default of the API where the server does not report one. */
  usual?: string;
}

type Range = { least?: number; most?: number };

const number = (name: string, label: string, hint: string, usual: string, range: Range = {}): Setting => ({
  name,
  label,
  hint,
  kind: "number",
  usual,
  least: 0,
  ...range,
});

const integer = (name: string, label: string, hint: string, usual: string, least = 0): Setting => ({
  name,
  label,
  hint,
  kind: "integer",
  usual,
  least,
});

export const BASIC: Setting[] = [
  number("temperature", "Temperature", "Higher is more varied; 0 takes the likeliest token", "1"),
  number("top_p", "Top p", "Likeliest tokens up to this share of probability", "1", { most: 1 }),
  integer("top_k", "Top k", "That many of the likeliest tokens", "all", 1),
  number("min_p", "Min p", "At least this share of the likeliest token's probability", "0", { most: 1 }),
  number("repetition_penalty", "Repetition penalty", "Above 1, repeated tokens are less likely", "1"),
  integer("max_tokens", "Longest answer", "Tokens, reasoning included", "max", 1),
];

export const FURTHER: Setting[] = [
  integer("seed", "Seed", "The same seed gives the same answer", "random"),
  { name: "stop", label: "Stop strings", hint: "One a line", kind: "text", usual: "none" },
  integer("min_tokens", "Shortest answer", "Tokens before the answer may end", "0"),
  number("typical_p", "Typical p", "Locally typical sampling", "1", { most: 1 }),
  number("presence_penalty", "Presence penalty", "For tokens of the answer", "0", { least: -2, most: 2 }),
  number("frequency_penalty", "Frequency penalty", "For each occurrence", "0", { least: -2, most: 2 }),
  number("dry_multiplier", "DRY multiplier", "Penalty of repeated sequences", "0"),
  number("dry_base", "DRY base", "Growth with their length", "1.75", { least: 1 }),
  integer("dry_allowed_length", "DRY allowed length", "Tokens without penalty", "2", 1),
  number("xtc_probability", "XTC probability", "How often the likeliest are excluded", "0", { most: 1 }),
  number("xtc_threshold", "XTC threshold", "Probability above which they are", "0.1", { most: 0.5 }),
  integer("reasoning_budget", "Reasoning budget", "Tokens before the answer must begin", "none"),
];
