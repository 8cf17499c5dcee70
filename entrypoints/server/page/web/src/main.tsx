/** The entry of the page. */

import { render } from "preact";
import { connect } from "./actions/connection";
import { open, refreshHistory } from "./actions/history";
import { installShortcuts } from "./actions/shortcuts";
import { applyTheme, currentTheme } from "./browser/theme";
import { App } from "./view/app";

applyTheme(currentTheme());
installShortcuts();
const root = document.getElementById("app");
if (root) {
  root.replaceChildren();
  render(<App />, root);
}
// The history is read from the browser, so it is there while the server is not.
void refreshHistory();
const openId = location.hash.slice(1);
void (openId ? open(openId) : Promise.resolve()).then(connect);
addEventListener("hashchange", () => void open(location.hash.slice(1)));
