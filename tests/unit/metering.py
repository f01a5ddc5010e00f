"""What the engine really computes, for tests of plans."""

from iclscope.engine import scoring


class Meter:
    """Counts the tokens that the engine gives to a model, and the predictions it asks for."""

    def __init__(self, monkeypatch):
        self.tokens = self.predictions = 0
        pack, logits_at = scoring.pack, scoring.logits_at

        def packed(*arguments):
            for batch in pack(*arguments):
                self.tokens += len(batch.tokens)
                yield batch

        def logits(model, places, **inputs):
            self.predictions += len(places)
            return logits_at(model, places, **inputs)

        monkeypatch.setattr(scoring, "pack", packed)
        monkeypatch.setattr(scoring, "logits_at", logits)
