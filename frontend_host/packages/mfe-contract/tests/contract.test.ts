import { expect, test } from "vitest";
import { findContractBreach, findRemote } from "../src";

const remotes = [
  { id: "flows", routes: ["/flows"] },
  { id: "designer", routes: ["/flows/designer"] },
];

test("the longest matching route wins", () => {
  expect(findRemote(remotes, "/flows/designer/1")?.id).toBe("designer");
  expect(findRemote(remotes, "/flows/1")?.id).toBe("flows");
});

test("a route matches whole segments only", () => {
  expect(findRemote(remotes, "/flowsheet")).toBeNull();
});

test("a module without a lifecycle is named", () => {
  const lifecycle = async () => {};
  expect(findContractBreach({ bootstrap: lifecycle, mount: lifecycle, update: lifecycle })).toContain("unmount");
  expect(
    findContractBreach({ bootstrap: lifecycle, mount: lifecycle, update: lifecycle, unmount: lifecycle }),
  ).toBeNull();
});
