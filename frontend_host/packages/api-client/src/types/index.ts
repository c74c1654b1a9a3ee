/** Shapes of REST v2 as the pages use them. Amounts and totals are decimal strings and are never parsed to numbers. */
export * from "./access";
export * from "./captures";
export * from "./connections";
export * from "./events";
export * from "./flows";
export * from "./json";
export * from "./messaging";
export * from "./runs";
export * from "./tasks";
export * from "./triggers";
