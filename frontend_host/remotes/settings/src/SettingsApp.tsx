import { Empty, Link, Page, useMfe } from "@portal/ui";
import type { ComponentType } from "react";
import { ApiKeysSection } from "./ApiKeysSection";
import { AuditSection } from "./AuditSection";
import { EnvironmentsSection } from "./EnvironmentsSection";
import { MembersSection } from "./MembersSection";
import { ProfileSection } from "./ProfileSection";
import { RolesSection } from "./RolesSection";

interface Section {
  path: string;
  label: string;
  lead: string;
  permission: string | null;
  body: ComponentType;
}

const SECTIONS: Section[] = [
  {
    path: "/settings/profile",
    label: "Profile",
    lead: "Your name, time zone, language and theme.",
    permission: null,
    body: ProfileSection,
  },
  {
    path: "/settings/members",
    label: "Members",
    lead: "People of this organisation and open invitations.",
    permission: "member:view",
    body: MembersSection,
  },
  {
    path: "/settings/roles",
    label: "Roles",
    lead: "Named sets of permissions.",
    permission: "member:view",
    body: RolesSection,
  },
  {
    path: "/settings/environments",
    label: "Environments",
    lead: "Which connection a slot means, and the values of variables, by environment.",
    permission: "environment:view",
    body: EnvironmentsSection,
  },
  {
    path: "/settings/api-keys",
    label: "API keys",
    lead: "For machines. A key's text is shown once.",
    permission: "apikey:manage",
    body: ApiKeysSection,
  },
  {
    path: "/settings/audit",
    label: "Audit",
    lead: "Who did what, in an order that cannot be rewritten.",
    permission: "audit:view",
    body: AuditSection,
  },
];

export function SettingsApp() {
  const { location, permissions } = useMfe();
  const visible = SECTIONS.filter((section) => !section.permission || permissions.has(section.permission));
  const path = location.pathname.replace(/\/+$/, "");
  const asked = path === "/settings" ? "/settings/profile" : path;
  const current = SECTIONS.find((section) => section.path === asked);
  const allowed = current && visible.includes(current);
  return (
    <Page title={current?.label ?? "Settings"} lead={current?.lead}>
      <div className="settings">
        <nav className="settings-nav" aria-label="Settings">
          {visible.map((section) => (
            <Link key={section.path} to={section.path} aria-current={section === current ? "page" : undefined}>
              {section.label}
            </Link>
          ))}
        </nav>
        <div className="stack">
          {!current ? (
            <Empty icon="search" title="There is no such page" />
          ) : allowed ? (
            <current.body key={current.path} />
          ) : (
            <Empty icon="lock" title="You may not see this">
              Ask an administrator of your organisation for access.
            </Empty>
          )}
        </div>
      </div>
    </Page>
  );
}
