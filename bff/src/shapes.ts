/** Shapes that several routes of the table share. */
import { Type } from 'typebox'

/** No member beyond those that are named. */
export const closed = { additionalProperties: false }

/** `con_…`, `dst_…`: an id of ours. */
export const Id = Type.Object({ id: Type.String({ pattern: '^[a-z]{3}_[A-Za-z0-9]{1,64}$' }) }, closed)
