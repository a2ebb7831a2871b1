#!/bin/sh
# The OncoReg call, training:  docker run --entrypoint ./train.sh IMAGE TASK
echo "dinoreg: nothing is trained. Features come from MIND or from pretrained weights, and each pair is optimised"
echo "dinoreg: on its own. Run ./test.sh TASK Val or ./test.sh TASK Ts. The model folder is left as it is."
