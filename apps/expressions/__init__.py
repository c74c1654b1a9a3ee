"""The one expression language: SQL scalar expressions in DuckDB's dialect."""
