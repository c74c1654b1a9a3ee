export * from "./autosave";
export * from "./definition";
export * from "./edits";
export * from "./history";
export * from "./problems";
export * from "./process";
export * from "./tokens";
