/** Consumers of message brokers, and messages that could not become events. */

export interface Consumer {
  id: string;
  name: string;
  environment: string;
  connection: string;
  source: string;
  from_start: boolean;
  format: "json" | "cloudevents" | "text";
  event_type: string;
  filter: string;
  key_expression: string;
  max_per_second: number;
  status: "active" | "paused" | "deleted";
  status_reason: string;
  created_by_name: string;
  connected_at: string | null;
  last_message_at: string | null;
  position: string;
  lag: number | null;
  received: number;
  published: number;
  duplicates: number;
  filtered: number;
  dead: number;
  failures: number;
  last_error: { code: string; message: string; remedy: string } | null;
  last_failed_at: string | null;
  next_attempt_at: string | null;
  created_at: string;
}

export interface ConsumerInput {
  name: string;
  environment: string;
  connection: string;
  source: string;
  from_start?: boolean;
  format?: string;
  event_type?: string;
  filter?: string;
  key_expression?: string;
  max_per_second?: number;
}

export interface DeadLetter {
  id: string;
  consumer: string;
  status: "dead" | "redelivered" | "discarded";
  code: string;
  reason: string;
  source: string;
  message_id: string;
  position: string;
  key: string;
  content_type: string;
  sent_at: string | null;
  size_bytes: number;
  event_id: string | null;
  settled_at: string | null;
  settled_by: string;
  created_at: string;
}

export interface DeadLetterDetail extends DeadLetter {
  headers: Record<string, string>;
  body: string;
  is_complete: boolean;
}
