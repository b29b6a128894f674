/** Worker module of those who read all files of stored commits. */
import { handle } from "../base/mod.ts";
import { checkFiles } from "./check_files.ts";
import { exportFiles } from "./export_files.ts";

handle("check-files", checkFiles);
handle("export-files", exportFiles);
