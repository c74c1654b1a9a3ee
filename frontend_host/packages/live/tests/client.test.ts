import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { LiveClient, type LiveHint, type SocketLike } from "../src";

class FakeSocket implements SocketLike {
  readyState = 0;
  sent: unknown[] = [];
  onopen: SocketLike["onopen"] = null;
  onclose: SocketLike["onclose"] = null;
  onmessage: SocketLike["onmessage"] = null;
  onerror: SocketLike["onerror"] = null;
  send(data: string) {
    this.sent.push(JSON.parse(data));
  }
  close(code = 1000) {
    this.readyState = 3;
    this.onclose?.({ code });
  }
  accept() {
    this.readyState = 1;
    this.onopen?.({});
  }
  say(hint: unknown) {
    this.onmessage?.({ data: JSON.stringify(hint) });
  }
}

let sockets: FakeSocket[];
let client: LiveClient;

beforeEach(() => {
  vi.useFakeTimers();
  sockets = [];
  client = new LiveClient({
    url: "ws://x/ws/live",
    random: () => 1,
    open: () => {
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    },
  });
  client.start();
});

afterEach(() => {
  client.stop();
  vi.useRealTimers();
});

test("topics asked for before the socket opened are subscribed when it opens", () => {
  client.subscribe(["runs"], () => {});
  sockets[0]!.accept();
  expect(sockets[0]!.sent).toEqual([{ subscribe: ["runs"] }]);
  expect(client.state).toBe("open");
});

test("a hint reaches the readers of its list and of its object once each", () => {
  const list: LiveHint[] = [];
  const both: LiveHint[] = [];
  client.subscribe(["runs"], (hint) => list.push(hint));
  client.subscribe(["runs", "run:7"], (hint) => both.push(hint));
  sockets[0]!.accept();
  sockets[0]!.say({ kind: "run", id: "7", seq: 1 });
  sockets[0]!.say({ kind: "connection", id: "1" });
  expect(list).toHaveLength(1);
  expect(both).toHaveLength(1);
});

test("the last reader of a topic unsubscribes it", () => {
  const first = client.subscribe(["runs"], () => {});
  const second = client.subscribe(["runs"], () => {});
  sockets[0]!.accept();
  first();
  expect(sockets[0]!.sent).toHaveLength(1);
  second();
  expect(sockets[0]!.sent[1]).toEqual({ unsubscribe: ["runs"] });
});

test("after a reconnection readers re-read everything and topics are subscribed again", () => {
  const seen: string[] = [];
  client.subscribe(["runs"], (hint) => seen.push(hint.kind));
  sockets[0]!.accept();
  sockets[0]!.close(1006);
  expect(seen).toEqual([]);
  vi.advanceTimersByTime(500);
  sockets[1]!.accept();
  expect(sockets[1]!.sent).toEqual([{ subscribe: ["runs"] }]);
  expect(seen).toEqual(["resync"]);
});

test("delays double up to the cap and keep their jitter", () => {
  for (const expected of [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]) {
    expect(client.nextDelayMs()).toBe(expected);
    sockets.at(-1)!.close(1006);
    vi.advanceTimersByTime(expected);
  }
});

test("while the socket is down readers are polled every ten seconds, not afterwards", () => {
  let polls = 0;
  client.subscribe(["runs"], () => {
    polls += 1;
  });
  sockets[0]!.close(1006);
  vi.advanceTimersByTime(500);
  sockets[1]!.close(1006);
  expect(client.state).toBe("polling");
  // Later sockets stay unanswered: neither open nor closed.
  vi.advanceTimersByTime(20_000);
  expect(polls).toBe(2);
  sockets.at(-1)!.accept();
  vi.advanceTimersByTime(30_000);
  expect(polls).toBe(2);
});

test("nonsense from the wire is ignored", () => {
  client.subscribe(["runs"], () => {
    throw new Error("must not be called");
  });
  sockets[0]!.accept();
  sockets[0]!.onmessage?.({ data: "{" });
  sockets[0]!.onmessage?.({ data: new ArrayBuffer(1) });
  sockets[0]!.say({ id: 1 });
});

test("stop ends retries", () => {
  sockets[0]!.close(1006);
  client.stop();
  vi.advanceTimersByTime(60_000);
  expect(sockets).toHaveLength(1);
});
