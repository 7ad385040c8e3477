// Amounts on the pages of jobs, in the words of the command line (`runs/jobs/telling.py`).

/** A span of time: `0.4 s`, `12 s`, `3 min`, `5.2 h`, `4 d`. */
export function span(seconds: number | null): string {
  if (seconds === null) return "–";
  const s = Math.max(0, seconds);
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 90) return `${s.toFixed(0)} s`;
  if (s < 5400) return `${(s / 60).toFixed(0)} min`;
  return s < 172_800 ? `${(s / 3600).toFixed(1)} h` : `${(s / 86_400).toFixed(0)} d`;
}

/** US dollars, with more digits where they are few. */
export function money(usd: number): string {
  return usd >= 1 || usd === 0 ? `$${usd.toFixed(2)}` : `$${usd.toFixed(4)}`;
}

/** A whole number with its thousands set apart. */
export function count(n: number): string {
  return n.toLocaleString("en-US");
}

/** Cases per second, or per minute where they are few. */
export function rate(perSecond: number): string {
  return perSecond >= 1 ? `${perSecond.toFixed(1)} cases/s` : `${(60 * perSecond).toFixed(1)} cases/min`;
}

/** The beginning of a text that is too long for a row; null where it is not. */
export function beginning(text: string, most = 300): string | null {
  const letters = [...text];
  return letters.length <= most ? null : `${letters.slice(0, most).join("")}…`;
}
