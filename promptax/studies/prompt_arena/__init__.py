"""Searches over prompts against each other, where the best prompt is known."""

from promptax.studies.prompt_arena.study import PromptArena as PromptArena
