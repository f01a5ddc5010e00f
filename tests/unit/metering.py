"""What the engine really computes, for tests of plans."""

from iclscope.engine import scoring


class Meter:
    """Counts the tokens that the engine gives to a model, and the predictions it asks for."""

    def __init__(self, monkeypatch):
        self.tokens = self.predictions = 0
        self._watch(monkeypatch, scoring, "pack", self._batches)
        self._watch(monkeypatch, scoring, "logits_at", self._head)

    def _watch(self, monkeypatch, module, name, note):
        original = getattr(module, name)

        def watched(*arguments, **named):
            result = original(*arguments, **named)
            note(arguments, result)
            return result

        monkeypatch.setattr(module, name, watched)

    def _batches(self, _, batches):
        self.tokens += sum(len(batch.tokens) for batch in batches)

    def _head(self, arguments, _):
        self.predictions += len(arguments[1])
