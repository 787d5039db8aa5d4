"""Formal languages: words, and what rules answer to them. Rules are an open set."""

from promptax.tasks.formal.context_free import ReverseString as ReverseString
from promptax.tasks.formal.context_free import StackManipulation as StackManipulation
from promptax.tasks.formal.context_sensitive import BinaryAddition as BinaryAddition
from promptax.tasks.formal.context_sensitive import BinaryMultiplication as BinaryMultiplication
from promptax.tasks.formal.context_sensitive import BucketSort as BucketSort
from promptax.tasks.formal.context_sensitive import ComputeSqrt as ComputeSqrt
from promptax.tasks.formal.context_sensitive import DuplicateString as DuplicateString
from promptax.tasks.formal.context_sensitive import MissingDuplicate as MissingDuplicate
from promptax.tasks.formal.context_sensitive import OddsFirst as OddsFirst
from promptax.tasks.formal.expressions import ModularArithmeticBrackets as ModularArithmeticBrackets
from promptax.tasks.formal.expressions import SolveEquation as SolveEquation
from promptax.tasks.formal.regular import CycleNavigation as CycleNavigation
from promptax.tasks.formal.regular import EvenPairs as EvenPairs
from promptax.tasks.formal.regular import ModularArithmetic as ModularArithmetic
from promptax.tasks.formal.regular import ParityCheck as ParityCheck
from promptax.tasks.formal.rule import Rule as Rule
