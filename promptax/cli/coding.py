"""The flags that `promptax lm compress` and `promptax lm decompress` share."""

import dataclasses

import tyro

from promptax import files


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coding:
    """The flags of compression."""

    file: tyro.conf.Positional[str]
    """What to read."""
    out: str
    """File to write."""
    model: str = "smollm2"
    """smollm2, a folder in the Hugging Face format, or a GGUF file."""

    def expect_apart(self) -> None:
        """Complain if what will be written replaces what is read: the text, or a model's file."""
        out = files.real_path(files.path_of(self.out))
        for word in (self.file, self.model):
            read = files.real_path(files.path_of(word))
            files.expect(
                not out.is_relative_to(read),
                f"Expected --out that the command does not read; {self.out} would replace "
                f"{'a file of ' * (out != read)}{word}. Choose another name.",
            )
