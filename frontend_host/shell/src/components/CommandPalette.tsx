import { Icon, type IconName, isIconName } from "@portal/ui";
import { useEffect, useId, useMemo, useRef, useState } from "react";
import type { Shell } from "../host/shell";

interface Command {
  id: string;
  label: string;
  group: string;
  icon: IconName;
  run: () => void;
}

function staticCommands(shell: Shell): Command[] {
  const go = (path: string) => () => shell.navigate(path);
  const can = (permission: string) => shell.permissions.has(permission);
  const pages = shell.navigation.map((item) => ({
    id: item.path,
    label: item.label,
    group: "Go to",
    icon: isIconName(item.icon) ? item.icon : ("table" as const),
    run: go(item.path),
  }));
  const actions: (Command | false)[] = [
    can("flow:edit") && { id: "new-flow", label: "New flow", group: "Do", icon: "plus", run: go("/flows?create=1") },
    can("flow:edit") && {
      id: "new-process",
      label: "New process",
      group: "Do",
      icon: "plus",
      run: go("/flows?create=process"),
    },
    can("connection:edit") && {
      id: "new-connection",
      label: "New connection",
      group: "Do",
      icon: "plus",
      run: go("/connections/new"),
    },
    can("member:manage") && {
      id: "invite",
      label: "Invite someone",
      group: "Do",
      icon: "user",
      run: go("/settings/members"),
    },
    { id: "light", label: "Light theme", group: "Do", icon: "sun", run: () => void shell.setTheme("light") },
    { id: "dark", label: "Dark theme", group: "Do", icon: "moon", run: () => void shell.setTheme("dark") },
    {
      id: "keys",
      label: "Keyboard shortcuts",
      group: "Do",
      icon: "keyboard",
      run: () => shell.store.set({ overlay: "keys" }),
    },
  ];
  return [...pages, ...actions.filter((command): command is Command => command !== false)];
}

/** Pages, actions, and after two letters the flows and connections whose names match. */
export function CommandPalette({ shell, onClose }: { shell: Shell; onClose: () => void }) {
  const [query, setQuery] = useState("");
  const [found, setFound] = useState<Command[]>([]);
  const [at, setAt] = useState(0);
  const dialog = useRef<HTMLDialogElement>(null);
  const listId = useId();
  const fixed = useMemo(() => staticCommands(shell), [shell]);

  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);

  useEffect(() => {
    const search = query.trim();
    setFound([]);
    if (search.length < 2) return;
    const control = new AbortController();
    const timer = setTimeout(async () => {
      const call = { signal: control.signal };
      const [flows, connections] = await Promise.allSettled([
        shell.permissions.has("flow:view") ? shell.api.flows.list({ search, limit: 6 }, call) : null,
        shell.permissions.has("connection:view") ? shell.api.connections.list({ search, limit: 6 }, call) : null,
      ]);
      if (control.signal.aborted) return;
      const rows = (answer: PromiseSettledResult<{ results: { id: string; name: string }[] } | null>) =>
        answer.status === "fulfilled" ? (answer.value?.results ?? []) : [];
      setFound([
        ...rows(flows).map(
          ({ id, name }): Command => ({
            id,
            label: name,
            group: "Flows",
            icon: "flow",
            run: () => shell.navigate(`/flows/${id}`),
          }),
        ),
        ...rows(connections).map(
          ({ id, name }): Command => ({
            id,
            label: name,
            group: "Connections",
            icon: "plug",
            run: () => shell.navigate(`/connections/${id}`),
          }),
        ),
      ]);
    }, 180);
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [query, shell]);

  const needle = query.trim().toLowerCase();
  const shown = [...fixed.filter((command) => command.label.toLowerCase().includes(needle)), ...found];
  const current = shown[Math.min(at, shown.length - 1)];
  const choose = (command: Command | undefined) => {
    if (!command) return;
    onClose();
    command.run();
  };
  return (
    <dialog
      ref={dialog}
      className="dialog palette"
      aria-label="Find or do"
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onMouseDown={(event) => {
        if (event.target === dialog.current) onClose();
      }}
    >
      <div className="palette-input">
        <Icon name="search" size={18} />
        <input
          role="combobox"
          aria-expanded="true"
          aria-controls={listId}
          aria-activedescendant={current ? `${listId}-${current.id}` : undefined}
          aria-label="Find or do"
          placeholder="Find a page, flow or connection…"
          value={query}
          onChange={(event) => {
            setQuery(event.target.value);
            setAt(0);
          }}
          onKeyDown={(event) => {
            if (event.key === "ArrowDown") setAt(Math.min(at + 1, shown.length - 1));
            else if (event.key === "ArrowUp") setAt(Math.max(at - 1, 0));
            else if (event.key === "Enter") choose(current);
            else return;
            event.preventDefault();
          }}
        />
        <kbd className="kbd">Esc</kbd>
      </div>
      <div id={listId} role="listbox" aria-label="Matches" className="palette-list">
        {shown.map((command, index) => (
          <div key={`${command.group}-${command.id}`}>
            {shown[index - 1]?.group !== command.group && <div className="palette-group">{command.group}</div>}
            <div
              id={`${listId}-${command.id}`}
              role="option"
              tabIndex={-1}
              aria-selected={command === current}
              className="palette-item"
              onMouseMove={() => setAt(index)}
              onClick={() => choose(command)}
              onKeyDown={() => {}}
            >
              <Icon name={command.icon} />
              {command.label}
            </div>
          </div>
        ))}
        {!shown.length && <div className="palette-group">Nothing matches “{query}”.</div>}
      </div>
    </dialog>
  );
}
