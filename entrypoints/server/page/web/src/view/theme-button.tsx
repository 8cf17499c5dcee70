import { useState } from "preact/hooks";
import { type Theme, applyTheme, currentTheme } from "../browser/theme";
import { IconButton } from "./icons";

const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };

export function ThemeButton() {
  const [theme, setTheme] = useState(currentTheme());
  const change = () => {
    applyTheme(NEXT[theme]);
    setTheme(NEXT[theme]);
  };
  return <IconButton icon="theme" label={`Theme: ${theme}`} onClick={change} />;
}
