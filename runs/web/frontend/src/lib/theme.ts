// Light or dark: what the system says, unless this browser's user chose. Kept in localStorage, shown as data-theme on <html>.

export type Theme = "light" | "dark";
export type ThemeChoice = Theme | "system";

const KEY = "tracescribe-theme";

/** What the user chose; "system" where nothing is stored, or nothing may be. */
export function themeChoice(): ThemeChoice {
  try {
    const stored = localStorage.getItem(KEY);
    return stored === "light" || stored === "dark" ? stored : "system";
  } catch {
    return "system";
  }
}

/** The theme that shows now. */
export function themeNow(): Theme {
  const choice = themeChoice();
  if (choice !== "system") return choice;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** Show the chosen theme; scripts that draw with colours listen to `themechange` on the document. */
export function applyTheme(): void {
  document.documentElement.dataset.theme = themeNow();
  document.dispatchEvent(new Event("themechange"));
}

/** Choose a theme, or follow the system again. */
export function chooseTheme(choice: ThemeChoice): void {
  try {
    if (choice === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, choice);
  } catch {
    // storage is refused: the choice holds for this page
  }
  document.documentElement.dataset.theme = choice === "system" ? themeNow() : choice;
  document.dispatchEvent(new Event("themechange"));
}

/** The value of a colour or another custom property as it is now, for what is drawn on a canvas. */
export function cssValue(name: `--${string}`): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
