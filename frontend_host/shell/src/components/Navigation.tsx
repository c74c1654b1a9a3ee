import type { NavigationItem } from "@portal/mfe-contract";
import { Button, Dialog, Icon, isIconName, Link, Menu, type MenuItem } from "@portal/ui";
import { useSyncExternalStore } from "react";
import type { Shell } from "../host/shell";
import { useShell } from "../host/store";

function isCurrent(item: NavigationItem, path: string): boolean {
  const stem = `/${item.path.split("/")[1]}`;
  return path === stem || path.startsWith(`${stem}/`);
}

function NavLink({ item, path }: { item: NavigationItem; path: string }) {
  return (
    <Link to={item.path} className="nav-link" aria-current={isCurrent(item, path) ? "page" : undefined}>
      <Icon name={isIconName(item.icon) ? item.icon : "table"} size={18} />
      <span>{item.label}</span>
    </Link>
  );
}

const THEMES = [
  { theme: "system", label: "As the system", icon: "screen" },
  { theme: "light", label: "Light", icon: "sun" },
  { theme: "dark", label: "Dark", icon: "moon" },
] as const;

function signOut(shell: Shell): void {
  const form = document.createElement("form");
  form.method = "post";
  form.action = shell.boot.logoutUrl;
  const token = document.createElement("input");
  token.type = "hidden";
  token.name = "csrfmiddlewaretoken";
  token.value = shell.boot.csrfToken;
  form.append(token);
  document.body.append(form);
  form.submit();
}

function accountItems(shell: Shell, theme: string): (MenuItem | "line")[] {
  return [
    { label: "Profile", icon: "user", run: () => shell.navigate("/settings/profile") },
    { label: "Sign-in security", icon: "lock", run: () => location.assign(shell.boot.securityUrl) },
    { label: "Keyboard shortcuts", icon: "keyboard", run: () => shell.store.set({ overlay: "keys" }) },
    "line",
    ...THEMES.map((choice) => ({
      label: `${choice.label}${choice.theme === theme ? " ✓" : ""}`,
      icon: choice.icon,
      run: () => void shell.setTheme(choice.theme),
    })),
    "line",
    { label: "Sign out", icon: "out", run: () => signOut(shell) },
  ];
}

const LIVE = {
  open: ["ok", "Live", "Changes appear at once."],
  connecting: ["", "Connecting…", "The live connection is being made."],
  polling: ["warn", "Every 10 s", "The live connection is down; pages are read again every ten seconds."],
} as const;

/** How fresh the page is, always in sight. */
export function LiveBadge({ shell }: { shell: Shell }) {
  const state = useSyncExternalStore(
    (listener) => shell.live.onState(listener),
    () => shell.live.state,
  );
  const [tone, label, title] = LIVE[state];
  return (
    <span className={`badge ${tone}`} title={title} role="status">
      {label}
    </span>
  );
}

function Brand({ shell }: { shell: Shell }) {
  return (
    <Link to="/overview" className="brand">
      <span className="mark" aria-hidden="true">
        {shell.boot.tenant.name.slice(0, 1).toUpperCase()}
      </span>
      <span className="truncate">{shell.boot.tenant.name}</span>
    </Link>
  );
}

export function Sidebar({ shell }: { shell: Shell }) {
  const { path, user } = useShell(shell.store);
  return (
    <aside className="sidebar">
      <Brand shell={shell} />
      <button type="button" className="finder" onClick={() => shell.store.set({ overlay: "palette" })}>
        <Icon name="search" size={15} />
        <span className="grow">Find or do…</span>
        <span className="kbd">Ctrl K</span>
      </button>
      <nav aria-label="Main">
        {shell.navigation.map((item) => (
          <NavLink key={item.path} item={item} path={path} />
        ))}
      </nav>
      <div className="sidebar-foot">
        <LiveBadge shell={shell} />
        <div className="row gap-2">
          <div className="grow">
            <div className="truncate strong small">{user.name || user.email}</div>
            <div className="truncate muted xs">{user.email}</div>
          </div>
          <Menu label="Account" items={accountItems(shell, user.theme)} />
        </div>
      </div>
    </aside>
  );
}

export function TopBar({ shell }: { shell: Shell }) {
  return (
    <header className="topbar">
      <Brand shell={shell} />
      <div className="row push gap-2">
        <LiveBadge shell={shell} />
        <Button
          tone="ghost"
          icon="search"
          aria-label="Find or do"
          onClick={() => shell.store.set({ overlay: "palette" })}
        />
      </div>
    </header>
  );
}

const BOTTOM_ITEMS = 4;

export function BottomBar({ shell }: { shell: Shell }) {
  const { path } = useShell(shell.store);
  return (
    <nav className="bottombar" aria-label="Main">
      {shell.navigation.slice(0, BOTTOM_ITEMS).map((item) => (
        <NavLink key={item.path} item={item} path={path} />
      ))}
      <button type="button" className="nav-link" onClick={() => shell.store.set({ overlay: "menu" })}>
        <Icon name="menu" size={18} />
        <span>More</span>
      </button>
    </nav>
  );
}

export function MobileMenu({ shell, onClose }: { shell: Shell; onClose: () => void }) {
  const { path, user } = useShell(shell.store);
  return (
    <Dialog title={shell.boot.tenant.name} lead={user.email} onClose={onClose}>
      <nav className="mobile-menu" aria-label="All pages">
        {shell.navigation.map((item) => (
          <NavLink key={item.path} item={item} path={path} />
        ))}
      </nav>
      <div className="segmented" role="group" aria-label="Theme">
        {THEMES.map((choice) => (
          <button
            key={choice.theme}
            type="button"
            aria-pressed={choice.theme === user.theme}
            onClick={() => void shell.setTheme(choice.theme)}
          >
            {choice.label}
          </button>
        ))}
      </div>
      <div className="row gap-2 wrap">
        <Button icon="lock" onClick={() => location.assign(shell.boot.securityUrl)}>
          Sign-in security
        </Button>
        <Button icon="out" onClick={() => signOut(shell)}>
          Sign out
        </Button>
      </div>
    </Dialog>
  );
}
