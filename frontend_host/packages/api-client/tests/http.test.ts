import { expect, test, vi } from "vitest";
import { ApiError, buildUrl, cursorOf, Http } from "../src";

function answering(status: number, body: unknown, headers: Record<string, string> = {}) {
  const fetch = vi.fn(
    async (_url: string, _init?: RequestInit) =>
      new Response(status === 204 ? null : typeof body === "string" ? body : JSON.stringify(body), {
        status,
        headers: { "content-type": typeof body === "string" ? "text/html" : "application/problem+json", ...headers },
      }),
  );
  const onSignedOut = vi.fn();
  const http = new Http({ baseUrl: "/api/v2", csrfToken: () => "token", fetch: fetch as never, onSignedOut });
  return { http, fetch, onSignedOut };
}

test("problem+json becomes an ApiError with code, remedy and problems", async () => {
  const { http } = answering(
    422,
    {
      title: "Invalid",
      status: 422,
      detail: "The flow is not valid.",
      code: "integrations.definition_invalid",
      remedy: "Mend the fields.",
      problems: [
        { path: "nodes.map.fields.0.expression", code: "unknown_column", message: "No such column", start: 0, end: 3 },
      ],
    },
    { "x-request-id": "req-1" },
  );
  const error = await http.post("/flows/1/publish", {}).catch((caught: unknown) => caught as ApiError);
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject({
    status: 422,
    code: "integrations.definition_invalid",
    remedy: "Mend the fields.",
    requestId: "req-1",
  });
  expect((error as ApiError).messagesByPath()).toEqual({ "nodes.map.fields.0.expression": "No such column" });
});

test("an HTML answer of a proxy still gives a readable error", async () => {
  const { http } = answering(502, "<html>Bad gateway</html>");
  await expect(http.get("/runs")).rejects.toMatchObject({ status: 502, code: "http.502", isTransient: true });
});

test("a lost network is an ApiError that may be tried again", async () => {
  const http = new Http({
    baseUrl: "",
    csrfToken: () => "",
    fetch: (() => Promise.reject(new TypeError("x"))) as never,
  });
  await expect(http.get("/runs")).rejects.toMatchObject({ code: "network.unreachable", isTransient: true });
});

test("401 tells the shell that the session is gone", async () => {
  const { http, onSignedOut } = answering(401, { title: "Signed out" });
  await http.get("/me").catch(() => {});
  expect(onSignedOut).toHaveBeenCalledOnce();
});

test("only writes carry the CSRF token", async () => {
  const { http, fetch } = answering(200, {});
  await http.get("/runs");
  await http.patch("/me", { theme: "dark" });
  const headers = fetch.mock.calls.map((call) => call[1]?.headers as Record<string, string>);
  expect(headers[0]).not.toHaveProperty("X-CSRFToken");
  expect(headers[1]).toHaveProperty("X-CSRFToken", "token");
});

test("empty query values are left out", () => {
  expect(buildUrl("/runs", { status: "", flow: undefined, limit: 20 })).toBe("/runs?limit=20");
});

test("a cursor is read from a whole URL and from a bare cursor", () => {
  expect(cursorOf("https://acme.localhost/api/v2/runs?cursor=abc%3D&limit=5")).toBe("abc=");
  expect(cursorOf("abc")).toBe("abc");
  expect(cursorOf(null)).toBeNull();
});
