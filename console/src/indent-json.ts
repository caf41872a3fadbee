/**
 * Lays JSON text out for reading by adding white space between its own characters. Never parses into values: numbers,
 * duplicate names and escapes stay as they were received. Text that is not JSON is returned unchanged.
 */
export function indentJson(text: string): string {
  if (!isJson(text)) return text
  let out = ''
  let depth = 0
  const line = (): string => `\n${'  '.repeat(depth)}`
  const parts = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s"{}[\],:]+/g) ?? []
  for (const [index, part] of parts.entries()) {
    if (part === '}' || part === ']') {
      depth -= 1
      out += /^[{[]$/.test(parts[index - 1] ?? '') ? part : line() + part
      continue
    }
    out += part
    if (part === '{' || part === '[') {
      depth += 1
      if (!/^[}\]]$/.test(parts[index + 1] ?? '')) out += line()
    } else if (part === ',') out += line()
    else if (part === ':') out += ' '
  }
  return out
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
