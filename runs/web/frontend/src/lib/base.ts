// What every page has: the theme switch and the help sheet. Each page's entry imports this module first.

import { announce } from "./announce";
import { openHelp, registerKey } from "./keys";
import { applyTheme, chooseTheme, themeNow } from "./theme";

function nameSwitch(button: HTMLElement): void {
  const other = themeNow() === "dark" ? "light" : "dark";
  button.setAttribute("aria-label", `Switch to ${other} colours`);
  button.title = `Switch to ${other} colours`;
}

const themeSwitch = document.getElementById("theme-switch");
if (themeSwitch) {
  nameSwitch(themeSwitch);
  themeSwitch.hidden = false;
  themeSwitch.addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    chooseTheme(next);
    nameSwitch(themeSwitch);
    announce(`${next} colours`);
  });
  document.addEventListener("themechange", () => nameSwitch(themeSwitch));
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", applyTheme);

const helpButton = document.getElementById("help-button");
if (helpButton) {
  helpButton.hidden = false;
  helpButton.addEventListener("click", openHelp);
}
registerKey({ keys: "?", what: "Show this sheet of keys", run: openHelp });
