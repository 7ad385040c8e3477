// For pages without a script of their own.

import "../lib/base";
