/**
 * Everything that a secret could have got into, as bytes: every table of the database, and every file below a
 * directory. Columns are read as the bytes they are, so that nothing hides in an escaped form.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import pg from 'pg'

export interface Medium {
  readonly name: string
  readonly bytes: Buffer
}

const BYTEA = 17

/** Every table that is not PostgreSQL's own; partitions each by itself. One row a line, one column a tab. */
export async function readTables(databaseUrl: string): Promise<Medium[]> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    const tables = await client.query<{ name: string }>(
      `select format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema') order by 1`,
    )
    const media: Medium[] = []
    for (const { name } of tables.rows) media.push({ name, bytes: await readTable(client, name) })
    return media
  } finally {
    await client.end()
  }
}

async function readTable(client: pg.Client, table: string): Promise<Buffer> {
  const { rows } = await client.query<unknown[]>({
    text: `select * from ${table}`,
    rowMode: 'array',
    types: {
      getTypeParser: (oid: number) => (text: string) =>
        oid === BYTEA ? Buffer.from(text.slice(2), 'hex') : Buffer.from(text, 'utf8'),
    },
  })
  const tab = Buffer.from('\t')
  const line = Buffer.from('\n')
  return Buffer.concat(
    rows.flatMap((row) => [...row.flatMap((cell) => (Buffer.isBuffer(cell) ? [cell, tab] : [tab])), line]),
  )
}

/** Names of all files below a directory, relative to it. */
export async function listFiles(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)))
}

/** A file that has gone since it was listed is empty. */
export async function readMedium(directory: string, name: string): Promise<Medium> {
  try {
    return { name, bytes: await readFile(join(directory, name)) }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      return { name, bytes: Buffer.alloc(0) }
    throw error
  }
}
