// Pinned nodes of a report, kept in this browser's tab until it is closed.

const MOST = 2000;

function keyOf(caseId: string): string {
  return `tracescribe-pins:${caseId}`;
}

/** Ids that were pinned; none where nothing may be stored or something else is. */
export function loadPins(caseId: string): string[] {
  try {
    const found: unknown = JSON.parse(sessionStorage.getItem(keyOf(caseId)) ?? "[]");
    return Array.isArray(found) ? found.filter((id): id is string => typeof id === "string").slice(0, MOST) : [];
  } catch {
    return [];
  }
}

export function savePins(caseId: string, ids: readonly string[]): void {
  try {
    sessionStorage.setItem(keyOf(caseId), JSON.stringify(ids.slice(0, MOST)));
  } catch {
    // pins then last until the page is left
  }
}
