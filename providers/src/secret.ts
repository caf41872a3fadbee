/**
 * A value that must not be shown by accident. It prints `***` in templates, JSON and the inspector, and is read
 * only by calling `reveal()` by name. It does not wipe memory: JavaScript strings cannot be wiped.
 */
import { inspect } from 'node:util'

const MASK = '***'

export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  /** @returns the plain value; call it only where the value leaves for its one legitimate destination. */
  reveal(): string {
    return this.#value
  }

  toString(): string {
    return MASK
  }

  toJSON(): string {
    return MASK
  }

  [inspect.custom](): string {
    return MASK
  }
}
