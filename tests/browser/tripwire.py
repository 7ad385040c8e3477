"""Tells whether a text of a stranger became markup or ran. Without the content security policy, so that the escaping itself
is tested: with it a hole in the escaping would stay unseen."""

from __future__ import annotations

from typing import Any

COUNT = """
window.__asked = 0;  // requests of scripts that are not answered, or whose answer has not been dealt with
for (const [owner, name] of [[window, 'fetch'], ...['json', 'text', 'arrayBuffer', 'blob'].map(one => [Response.prototype, one])]) {
  const own = owner[name];
  owner[name] = function (...given) {
    window.__asked++;
    return own.apply(this, given).finally(() => setTimeout(() => { window.__asked--; }, 0));
  };
}
Object.defineProperty(window, '__xss', {value: () => { window.__ran = (window.__ran || 0) + 1; console.error('XSS RAN'); }});
"""
QUIET = """hash => new Promise((done, give_up) => {
  setTimeout(() => give_up(new Error(`after a minute ${window.__asked} requests are not answered`)), 60000);
  const frames = then => requestAnimationFrame(() => requestAnimationFrame(then));
  const quiet = () => frames(() => {
    if (window.__asked > 0) return quiet();
    // a broken picture that is asked for last: what earlier ones bring about has happened when it tells that it is broken
    const last = new Image();
    last.addEventListener('error', () => frames(() => setTimeout(done, 0)));
    last.src = 'data:image/png,';
  });
  if (hash === null || location.hash === '#' + hash) return quiet();
  addEventListener('hashchange', () => setTimeout(quiet, 0), {once: true});
  location.hash = hash;
})"""
FOUND = """own => {
  const found = [];
  const foreign = ['iframe', 'object', 'embed', 'base', 'marquee', 'isindex', 'xss', 'x', 'math', 'audio', 'video', 'frame',
    'animate', 'set', 'foreignobject', 'template:not([id])', 'noscript img', 'meta[http-equiv]', 'style', 'body script'];
  if (own) for (const one of document.querySelectorAll(foreign.join(','))) found.push(one.outerHTML.slice(0, 200));
  for (const one of document.querySelectorAll('*')) {
    for (const name of one.getAttributeNames()) {
      const value = one.getAttribute(name);
      if (name.startsWith('on') || name === 'srcdoc' || (own && name === 'style' && value.includes('xss')))
        found.push(one.outerHTML.slice(0, 200));
      if (['href', 'src', 'action', 'data', 'xlink:href', 'formaction', 'poster'].includes(name)
          && /^[\\s\\u0000-\\u001f]*(javascript|vbscript|data:text)/i.test(value)) found.push(one.outerHTML.slice(0, 200));
      if (['src', 'action', 'data', 'formaction', 'poster'].includes(name) && /evil\\.example|xss/.test(value))
        found.push(one.outerHTML.slice(0, 200));
    }
  }
  if (window.__ran) found.push('ran ' + window.__ran + ' times');
  return found.slice(0, 5);
}"""


def arm(window: Any) -> None:
    """Count the calls in every page that this window opens from now on."""
    window.context.add_init_script(COUNT)


def come_to_rest(page: Any, target: str | None = None) -> None:
    """Wait until nothing that the page has been given can come any more: scripts have their answers and have dealt with
    them, frames are painted, focus and animations have had their turn, pictures are loaded or broken.

    Args:
        target: to select first, by the address.
    """
    page.evaluate(QUIET, target)


def injected(page: Any, *, own: bool = True) -> list[str]:
    """Elements and attributes that a stranger's text has made, and calls that it has brought about.

    Args:
        own: whether the page is the app's, which has none of some elements at all.
    """
    found: list[str] = page.evaluate(FOUND, own)
    return found
