/** Where `g` followed by a letter goes. */
export const GO_TO: Record<string, { path: string; label: string }> = {
  o: { path: "/overview", label: "Overview" },
  c: { path: "/connections", label: "Connections" },
  f: { path: "/flows", label: "Flows" },
  r: { path: "/runs", label: "Runs" },
  q: { path: "/quarantine", label: "Quarantine" },
  e: { path: "/events", label: "Events" },
  s: { path: "/settings/profile", label: "Settings" },
};

export interface KeyboardActions {
  openPalette: () => void;
  openKeys: () => void;
  go: (path: string) => void;
}

/** True when the key was typed into something that takes text. */
export function isTyping(event: Pick<KeyboardEvent, "composedPath">): boolean {
  const target = event.composedPath()[0] as Partial<HTMLElement> | undefined;
  return Boolean(target?.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target?.tagName ?? ""));
}

/** The search box of the page that is open; pages mark it with `data-page-search`. */
function findPageSearch(): HTMLElement | null {
  for (const element of document.querySelectorAll("portal-mfe")) {
    const search = element.shadowRoot?.querySelector<HTMLElement>("[data-page-search]");
    if (search) return search;
  }
  return null;
}

export function listenToKeys(actions: KeyboardActions): void {
  let awaitingLetter = 0;
  window.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      actions.openPalette();
      return;
    }
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event)) return;
    const letter = event.key.toLowerCase();
    if (Date.now() - awaitingLetter < 1200 && GO_TO[letter]) {
      awaitingLetter = 0;
      actions.go(GO_TO[letter].path);
    } else if (letter === "g") awaitingLetter = Date.now();
    else if (event.key === "?") actions.openKeys();
    else if (event.key === "/") {
      const search = findPageSearch();
      if (!search) return;
      event.preventDefault();
      search.focus();
    }
  });
}
