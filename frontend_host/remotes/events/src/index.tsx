import { defineRemote, Empty, Link, matchRoute, Page, useMfe } from "@portal/ui";
import { useEffect, useRef } from "react";
import { CaptureSection } from "./CaptureSection";
import { ConsumersSection } from "./ConsumersSection";
import { ExplorerSection } from "./ExplorerSection";
import styles from "./events.css?inline";
import { IncomingSection } from "./IncomingSection";
import { SubscriptionPage } from "./SubscriptionPage";
import { SubscriptionsSection } from "./SubscriptionsSection";
import { TypesSection } from "./TypesSection";

const SECTIONS = [
  { path: "/events", label: "Log", permission: "event:view", body: ExplorerSection },
  { path: "/events/types", label: "Types", permission: "event:view", body: TypesSection },
  { path: "/events/webhooks", label: "Webhooks out", permission: "webhook:view", body: SubscriptionsSection },
  { path: "/events/incoming", label: "Webhooks in", permission: "webhook:view", body: IncomingSection },
  { path: "/events/captures", label: "Change capture", permission: "capture:view", body: CaptureSection },
  { path: "/events/consumers", label: "Consumers", permission: "consumer:view", body: ConsumersSection },
];

function App() {
  const { location, permissions } = useMfe();
  const path = location.pathname.replace(/\/+$/, "");
  const sections = useRef<HTMLElement | null>(null);
  // A phone shows four of them; the one that is open must be among them.
  useEffect(() => {
    const open = path && sections.current?.querySelector<HTMLElement>('[aria-current="page"]');
    if (open) open.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [path]);
  const one = matchRoute("/events/webhooks/:id", location.pathname);
  if (one) return <SubscriptionPage key={one.id} id={one.id!} />;
  const current = SECTIONS.find((section) => section.path === path);
  const visible = SECTIONS.filter((section) => permissions.has(section.permission));
  return (
    <Page title="Events" lead="What happened, who was told, and what other systems tell us.">
      <nav ref={sections} className="sections" aria-label="Events">
        {visible.map((section) => (
          <Link key={section.path} to={section.path} aria-current={section === current ? "page" : undefined}>
            {section.label}
          </Link>
        ))}
      </nav>
      {!current ? (
        <Empty icon="search" title="There is no such page" />
      ) : visible.includes(current) ? (
        <current.body key={current.path} />
      ) : (
        <Empty icon="lock" title="You may not see this">
          Ask an administrator of your organisation for access.
        </Empty>
      )}
    </Page>
  );
}

export const { bootstrap, mount, update, unmount } = defineRemote(App, styles);
