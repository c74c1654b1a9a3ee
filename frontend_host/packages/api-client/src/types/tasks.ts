import type { JsonObject } from "./json";

/** A question that a process asks people. */

export type TaskStatus = "open" | "answered" | "expired" | "cancelled";

export interface TaskPerson {
  id: string;
  name: string;
  email: string;
}

export interface HumanTask {
  id: string;
  title: string;
  status: TaskStatus;
  run: string;
  flow: { id: string; name: string };
  path: string;
  role: string;
  required: number;
  answered: number;
  claimed_by: TaskPerson | null;
  due_at: string | null;
  created_at: string;
  ended_at: string | null;
}

export interface HumanTaskDetail extends HumanTask {
  description: string;
  shown: JsonObject;
  /** JSON Schema of the answer. */
  form: JsonObject;
  delegation: boolean;
  no_self_approval: boolean;
  people: TaskPerson[];
  may_answer: boolean;
  answers: { person: string; person_name: string; values: JsonObject; created_at: string }[];
}
