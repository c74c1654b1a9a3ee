export interface Role {
  slug: string;
  name: string;
  description: string;
  builtin: boolean;
  permissions: string[];
}

export interface Member {
  id: string;
  email: string;
  name: string;
  roles: string[];
  is_active: boolean;
  mfa_enabled: boolean;
  last_login: string | null;
  created_at: string;
}

export interface Invitation {
  id: string;
  email: string;
  roles: string[];
  status: "open" | "accepted" | "revoked" | "expired";
  invited_by: string;
  expires_at: string;
  sent_at: string | null;
  created_at: string;
}

export interface ApiKey {
  id: string;
  name: string;
  prefix: string;
  scopes: string[];
  status: "active" | "revoked" | "expired";
  created_by: string;
  expires_at: string | null;
  last_used_at: string | null;
  revoked_at: string | null;
  created_at: string;
  key?: string;
}

export interface AuditEntry {
  id: string;
  number: number;
  at: string;
  actor: { kind: string; id: string | null; name: string };
  action: string;
  target: { type: string; id: string };
  summary: string;
  facts: Record<string, unknown> | null;
}

export interface Permission {
  code: string;
  description: string;
}

export interface Me {
  user: {
    id: string;
    email: string;
    name: string;
    timezone: string;
    locale: string;
    theme: "system" | "light" | "dark";
  };
  tenant: { id: string; slug: string; name: string };
  permissions: string[];
  roles: string[];
}
