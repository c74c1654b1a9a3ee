import type { RemoteDescriptor, TenantInfo, UserInfo } from "@portal/mfe-contract";

/** What the server writes into the page beside the import map. */
export interface Bootstrap {
  tenant: TenantInfo;
  user: UserInfo;
  permissions: string[];
  remotes: RemoteDescriptor[];
  /** Areas that exist but need a permission this person lacks. */
  withheld: { name: string; routes: string[] }[];
  csrfToken: string;
  apiUrl: string;
  liveUrl: string;
  loginUrl: string;
  logoutUrl: string;
  securityUrl: string;
  release: string;
}

export function readBootstrap(page: Document = document): Bootstrap {
  const element = page.getElementById("portal-bootstrap");
  if (!element?.textContent) throw new Error("The page carries no bootstrap data.");
  return JSON.parse(element.textContent) as Bootstrap;
}

/** The socket's address for a page address; ws for http, wss for https. */
export function liveAddress(path: string, page: { protocol: string; host: string }): string {
  return `${page.protocol === "https:" ? "wss:" : "ws:"}//${page.host}${path}`;
}
