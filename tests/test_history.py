from skvae._training.history import epoch_row


def test_a_row_has_our_columns_then_those_of_callbacks():
    row = {
        "batches": [{}],
        "mine": 3,
        "dur": 0.5,
        "train_loss": 1.0,
        "epoch": 2,
        "train_loss_best": True,
        "train_batch_count": 1,
        "valid_objective": 9.0,
        "event_lr": 0.1,
    }
    assert list(epoch_row(row).items()) == [
        *(("epoch", 2), ("train_loss", 1.0), ("epoch_time", 0.5)),
        *(("mine", 3), ("event_lr", 0.1)),
    ]
