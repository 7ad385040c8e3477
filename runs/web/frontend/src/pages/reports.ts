// The list of reports: results change while one types, rows and pages have keys, two rows are chosen to compare.

import "../lib/base";
import { mountBringIn } from "../reports/bring_in";
import { mountChoosing } from "../reports/choosing";
import { mountFilters } from "../reports/filters";
import { mountRowKeys } from "../reports/rows";

mountFilters();
mountRowKeys();
mountChoosing();
mountBringIn();
