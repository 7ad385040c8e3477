"""How the embedded model and its transcoder are made, and what is true of them by construction.

Holds the latent variables of the corpus, that is, the gold of every oracle case: agents may never import it.
"""

from __future__ import annotations
