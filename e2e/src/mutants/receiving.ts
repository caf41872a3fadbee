/** `npm run faults -- mutants`: every guard of receiving is missed by a test when it is gone (RE-16). */
import type { FaultResult, Print } from '../faults.ts'
import { JUDGING } from './judging.ts'
import { type Mutant, runMutants } from './mutant.ts'
import { STORING } from './storing.ts'

export const RECEIVING: readonly Mutant[] = [...JUDGING, ...STORING]

export const receivingMutants = (print: Print): Promise<FaultResult> => runMutants(RECEIVING, print)
