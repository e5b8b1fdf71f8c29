// Label selectors: `matchLabels` and `matchExpressions`, all of which must hold.

import type { Field } from "../field.ts";

/** An empty selector selects everything. */
export interface Selector {
  readonly labels: Readonly<Record<string, string>>;
  readonly expressions: readonly {
    readonly key: string;
    readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
    readonly values: readonly string[];
  }[];
}

export function readSelector(field: Field): Selector {
  return {
    labels: field.at("matchLabels").strings(),
    expressions: field.at("matchExpressions").list(256).map((e) => {
      const operator = e.at("operator").oneOf(["In", "NotIn", "Exists", "DoesNotExist"] as const);
      const values = e.at("values").list(1024).map((v) => v.string());
      if (operator.endsWith("In") && values.length === 0) e.at("values").fail("is empty");
      return { key: e.at("key").string(), operator, values };
    }),
  };
}

export function selects(selector: Selector, labels: Readonly<Record<string, string>>): boolean {
  return Object.entries(selector.labels).every(([key, value]) => labels[key] === value) &&
    selector.expressions.every(({ key, operator, values }) => {
      const value = labels[key];
      switch (operator) {
        case "Exists":
          return value !== undefined;
        case "DoesNotExist":
          return value === undefined;
        case "In":
          return value !== undefined && values.includes(value);
        case "NotIn":
          return value === undefined || !values.includes(value);
      }
    });
}
