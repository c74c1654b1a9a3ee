import type { ChangeEvent, ComponentProps, ReactNode, SelectHTMLAttributes, TextareaHTMLAttributes } from "react";
import { useEffect, useId, useRef, useState } from "react";
import { Icon } from "../layout/Icon";

interface FieldProps {
  label: ReactNode;
  hint?: ReactNode;
  error?: string | null;
  required?: boolean;
  /** Receives the ids that tie the control to its label, hint and error. */
  children: (ids: {
    id: string;
    "aria-describedby"?: string;
    "aria-invalid"?: boolean;
    required?: boolean;
  }) => ReactNode;
}

export function Field({ label, hint, error, required, children }: FieldProps) {
  const id = useId();
  const described = [hint && `${id}-h`, error && `${id}-e`].filter(Boolean).join(" ") || undefined;
  return (
    <div className="field">
      <label htmlFor={id}>
        {label}
        {required === false && <span className="muted xs"> · optional</span>}
      </label>
      {children({
        id,
        "aria-describedby": described,
        "aria-invalid": error ? true : undefined,
        required: required || undefined,
      })}
      {error ? (
        <span className="error" id={`${id}-e`} role="alert">
          <Icon name="error" size={13} /> {error}
        </span>
      ) : null}
      {hint ? (
        <span className="hint" id={`${id}-h`}>
          {hint}
        </span>
      ) : null}
    </div>
  );
}

type TextProps = Omit<ComponentProps<"input">, "onChange"> & { onChange: (value: string) => void };

export function TextInput({ onChange, className = "", ...rest }: TextProps) {
  return (
    <input
      type="text"
      autoComplete="off"
      {...rest}
      className={`input ${className}`}
      onChange={(event: ChangeEvent<HTMLInputElement>) => onChange(event.target.value)}
    />
  );
}

type AreaProps = Omit<TextareaHTMLAttributes<HTMLTextAreaElement>, "onChange"> & { onChange: (value: string) => void };

export function TextArea({ onChange, className = "", ...rest }: AreaProps) {
  return <textarea {...rest} className={`input ${className}`} onChange={(event) => onChange(event.target.value)} />;
}

export interface Option {
  value: string;
  label: string;
  disabled?: boolean;
}

type SelectProps = Omit<SelectHTMLAttributes<HTMLSelectElement>, "onChange"> & {
  options: readonly Option[];
  onChange: (value: string) => void;
};

export function Select({ options, onChange, className = "", ...rest }: SelectProps) {
  return (
    <span className="select">
      <select {...rest} className={`input ${className}`} onChange={(event) => onChange(event.target.value)}>
        {options.map((option) => (
          <option key={option.value} value={option.value} disabled={option.disabled}>
            {option.label}
          </option>
        ))}
      </select>
      <Icon name="down" size={14} />
    </span>
  );
}

interface CheckProps {
  label: ReactNode;
  hint?: ReactNode;
  checked: boolean;
  disabled?: boolean;
  onChange: (checked: boolean) => void;
}

export function Checkbox({ label, hint, checked, disabled, onChange }: CheckProps) {
  return (
    <label className="check">
      <input
        type="checkbox"
        checked={checked}
        disabled={disabled}
        onChange={(event) => onChange(event.target.checked)}
      />
      <span>
        {label}
        {hint && <span className="hint">{hint}</span>}
      </span>
    </label>
  );
}

interface SearchProps {
  value: string;
  onChange: (value: string) => void;
  label: string;
  placeholder?: string;
}

/** A search box that reports 250 ms after the last key, and at once on Enter. */
export function SearchInput({ value, onChange, label, placeholder }: SearchProps) {
  const [text, setText] = useState(value);
  const timer = useRef(0);
  const reported = useRef(value);
  useEffect(() => {
    if (value !== reported.current) {
      reported.current = value;
      setText(value);
    }
  }, [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const report = (next: string, delay: number) => {
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => {
      reported.current = next;
      onChange(next);
    }, delay);
  };
  return (
    <div className="search">
      <Icon name="search" size={15} />
      <input
        type="search"
        className="input"
        aria-label={label}
        placeholder={placeholder ?? label}
        value={text}
        data-page-search=""
        onChange={(event) => {
          setText(event.target.value);
          report(event.target.value, 250);
        }}
        onKeyDown={(event) => {
          if (event.key === "Enter") report(text, 0);
        }}
      />
    </div>
  );
}
