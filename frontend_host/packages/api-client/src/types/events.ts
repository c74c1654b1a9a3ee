/** Events, subscriptions with their deliveries, and webhooks of other systems. */

export interface CloudEvent {
  id: string;
  type: string;
  source: string;
  subject: string;
  time: string;
  partitionkey: string;
  sequence?: string;
  data: unknown;
}

export interface EventType {
  type: string;
  description: string;
  origin: "portal" | "tenant";
  schema: unknown;
}

export interface EventContract {
  id: string;
  type: string;
  description: string;
  compatibility: "none" | "backward" | "forward" | "full";
  version: number;
  schema: unknown;
  created_at: string;
  updated_at: string;
}

export interface EventContractVersion {
  number: number;
  schema: unknown;
  note: string;
  published_by: string;
  created_at: string;
}

/** What a new schema would mean: each difference, and who gets events of the type. */
export interface ContractCheck {
  compatible: boolean;
  mode: string;
  changes: { path: string; message: string; breaks: ("backward" | "forward")[] }[];
  consumers: { kind: "subscription" | "flow" | "subscriber"; id: string | null; name: string; reads: string[] }[];
}

export interface SubscriptionHealth {
  state: "unknown" | "healthy" | "failing";
  delivered: number;
  failures: number;
  failing_since: string | null;
  last_success_at: string | null;
  last_failure_at: string | null;
  last_error: string;
  hold_until: string | null;
  waiting: number;
  retrying: number;
  dead: number;
}

export interface SigningKey {
  created_at: string;
  expires_at: string | null;
}

export interface EventSubscription {
  id: string;
  name: string;
  description: string;
  types: string[];
  filter: string;
  ordered: boolean;
  key_expression: string;
  block_on_dead: boolean;
  target: string;
  config: { url: string; headers: Record<string, string> };
  status: "active" | "paused" | "disabled" | "archived";
  status_reason: string;
  disabled_position: number | null;
  signing_keys: SigningKey[];
  health: SubscriptionHealth;
  created_at: string;
  updated_at: string;
}

export interface EventSubscriptionInput {
  name: string;
  description: string;
  types: string[];
  filter: string;
  ordered: boolean;
  key_expression: string;
  block_on_dead: boolean;
  config: { url: string; headers: Record<string, string> };
}

/** The one answer that ever holds a secret. */
export type WithSecret<T> = T & { secret: string | null };

export interface EventDelivery {
  id: string;
  subscription: string;
  subscription_name: string;
  event: string;
  event_type: string;
  event_subject: string;
  replay: string | null;
  lane: string;
  status: "pending" | "delivering" | "failed" | "delivered" | "dead" | "discarded";
  attempts: number;
  failures: number;
  next_attempt_at: string | null;
  response_status: number | null;
  error: string;
  delivered_at: string | null;
  created_at: string;
}

export interface DeliveryAttempt {
  number: number;
  started_at: string;
  duration_ms: number;
  ok: boolean;
  response_status: number | null;
  error: string;
  excerpt: string;
}

export interface EventDeliveryDetail extends EventDelivery {
  cloudevent: CloudEvent;
  attempt_log: DeliveryAttempt[];
}

export interface ReplayRange {
  first_position?: number;
  last_position?: number;
  since?: string;
  until?: string;
  types?: string[];
}

export interface ReplayPreview {
  count: number;
  scanned: number;
  first_position: number;
  last_position: number;
  sample: CloudEvent[];
}

export interface WebhookEndpoint {
  id: string;
  name: string;
  path: string;
  scheme: string;
  config: Record<string, string>;
  event_type: string;
  tolerance_s: number;
  max_bytes: number;
  rate_per_s: number | null;
  burst: number | null;
  status: "active" | "paused" | "archived";
  signing_keys: SigningKey[];
  last_received_at: string | null;
  accepted_24h: number;
  duplicates_24h: number;
  refused_24h: number;
  rejected: number;
  last_rejected_at: string | null;
  last_rejection: string;
  created_at: string;
  updated_at: string;
}

export interface WebhookEndpointInput {
  name: string;
  scheme: string;
  event_type?: string;
  secret?: string;
  config?: Record<string, string>;
}

export interface WebhookMessage {
  id: string;
  endpoint: string;
  event_id: string;
  message_id: string;
  content_type: string;
  size_bytes: number;
  received_at: string;
}

export interface WebhookMessageDetail extends WebhookMessage {
  headers: Record<string, string>;
  body: string;
}
