// Sets the theme before the first paint, so that no page flashes in the wrong colours. Loaded in <head>, blocking.

import { applyTheme } from "../lib/theme";

applyTheme();
