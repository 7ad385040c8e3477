// The log-in page: what the address names behind "#" (a claim, a node) is gone to after the log-in too.
import "../lib/base";

for (const next of document.querySelectorAll<HTMLInputElement>('input[name="next"]')) {
  if (location.hash.length > 1 && !next.value.includes("#")) next.value += location.hash;
}
