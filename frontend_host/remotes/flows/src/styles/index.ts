import expression from "./expression.css?inline";
import panels from "./panels.css?inline";
import process from "./process.css?inline";
import small from "./small.css?inline";
import workbench from "./workbench.css?inline";

/** In this order: what holds for small screens comes last. */
export const styles = workbench + expression + panels + process + small;
